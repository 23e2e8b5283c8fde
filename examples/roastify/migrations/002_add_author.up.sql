alter table roasts add column author text;
