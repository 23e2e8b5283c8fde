insert into jobs (title) values ('Keeper of lights'), ('Pilot');
