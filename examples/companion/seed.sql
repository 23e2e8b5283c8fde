insert into applications (company) values ('Harbour'), ('Lighthouse');
