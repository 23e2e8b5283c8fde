alter table jobs drop column matched_at;
