-- Everything that can be said about the table of snapshots: columns, constraints, indexes, policies, triggers, row-level security.
SELECT format('column %s %s %s %s', column_name, data_type, is_nullable, column_default) FROM information_schema.columns
    WHERE table_schema = 'public' AND table_name = 'snapshots'
UNION ALL SELECT format('constraint %s', pg_get_constraintdef(oid)) FROM pg_constraint WHERE conrelid = 'public.snapshots'::regclass
UNION ALL SELECT format('index %s %s', indexdef, indisvalid) FROM pg_indexes JOIN pg_index ON indexrelid = to_regclass(indexname) WHERE tablename = 'snapshots'
UNION ALL SELECT format('policy %s %s %s %s', policyname, cmd, roles, qual) FROM pg_policies WHERE tablename = 'snapshots'
UNION ALL SELECT format('trigger %s', pg_get_triggerdef(oid)) FROM pg_trigger WHERE tgrelid = 'public.snapshots'::regclass AND NOT tgisinternal
UNION ALL SELECT format('row security %s %s', relrowsecurity, relforcerowsecurity) FROM pg_class WHERE oid = 'public.snapshots'::regclass
ORDER BY 1
