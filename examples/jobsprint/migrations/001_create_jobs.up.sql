create table jobs (
    id bigint generated always as identity primary key,
    title text not null,
    score int,
    sent boolean not null default false
);
