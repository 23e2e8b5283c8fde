DROP TABLE summaries;
-- without the column a draft would count as published
DELETE FROM entries WHERE draft = 1;
ALTER TABLE entries DROP COLUMN draft;
