drop table notices;
drop table interviews;
drop table matches;
drop table jobs;
