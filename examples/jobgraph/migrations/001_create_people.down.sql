drop table questions;
drop table users;
