drop table digests;
drop table applications;
