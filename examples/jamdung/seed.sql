insert into jobs (title) values ('Teacher in Kingston'), ('Cook in Montego Bay');
