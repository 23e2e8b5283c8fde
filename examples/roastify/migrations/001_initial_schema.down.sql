drop table roasts;
