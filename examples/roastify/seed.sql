insert into roasts (text) values ('Your code compiles, and that is all one can say.');
