create table applications (
    id bigint generated always as identity primary key,
    company text not null,
    state text not null default 'open'
);
create table digests (
    at timestamptz not null default now(),
    open bigint not null
);
