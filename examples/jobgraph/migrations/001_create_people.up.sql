create table users (
    id bigint generated always as identity primary key,
    email text not null unique,
    skills text not null default '',
    at timestamptz not null default now()
);
create table questions (
    user_id bigint not null references users (id) on delete cascade,
    question text not null,
    primary key (user_id, question)
);
