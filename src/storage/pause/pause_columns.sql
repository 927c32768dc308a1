-- What is known of the pause `p`, a part of a SELECT. An end in a year that no calendar has is none.
p.what, p.since, CASE WHEN p.until < '9999-12-31Z' THEN p.until END AS until, p.by_role, p.by_user
