alter table roasts drop column author;
