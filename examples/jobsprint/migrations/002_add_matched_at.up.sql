alter table jobs add column matched_at timestamptz;
