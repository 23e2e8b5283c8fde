drop table events;
drop table jobs;
