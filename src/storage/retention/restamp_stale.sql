-- Part of a WHERE: a row `s` of the type $1 whose expires_at is not what the TTL $2 makes it, or is absent.
s.created_at IS NOT NULL AND s.created_at + $2::interval IS DISTINCT FROM s.expires_at AND {{rows_of_type.sql}}
