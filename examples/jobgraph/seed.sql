insert into users (email) values ('ada@example.org'), ('grace@example.org');
insert into jobs (title, skill, company) values ('Keeper of databases', 'postgresql', 'Harbour');
