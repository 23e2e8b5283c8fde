create table jobs (
    id bigint generated always as identity primary key,
    title text not null,
    skill text not null,
    company text not null
);
create table matches (
    user_id bigint not null references users (id) on delete cascade,
    job_id bigint not null references jobs (id) on delete cascade,
    primary key (user_id, job_id)
);
create table interviews (
    id bigint generated always as identity primary key,
    user_id bigint not null references users (id) on delete cascade,
    answer text not null,
    score int,
    at timestamptz not null default now()
);
create table notices (
    id bigint generated always as identity primary key,
    user_id bigint not null references users (id) on delete cascade,
    text text not null
);
