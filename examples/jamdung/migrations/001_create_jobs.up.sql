create table jobs (
    id bigint generated always as identity primary key,
    title text not null
);
create table events (
    id bigint generated always as identity primary key,
    event text not null unique,
    name text not null,
    data jsonb not null
);
