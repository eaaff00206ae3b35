-- Makes the roles of the programs and gives the tables to them; see the package
-- documentation. Run in one transaction, by the master of the database, with
-- wafleet.app and wafleet.owner set. It may run any number of times.
DO $$
DECLARE
    app     text := current_setting('wafleet.app');
    owner   text := current_setting('wafleet.owner');
    master  text := current_user;
    one     record;
BEGIN
    IF app = master THEN
        RAISE EXCEPTION 'the role of the programs must not be the one that migrates';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = owner) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', owner);
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = app) THEN
        EXECUTE format('CREATE ROLE %I LOGIN', app);
    END IF;
    IF NOT pg_has_role(app, owner, 'USAGE') THEN
        EXECUTE format('GRANT %I TO %I', owner, app);
    END IF;
    -- Whoever creates a role is a member of it from Postgres 16 on, but may not
    -- act as it before this. Where it is granted already, this is a notice.
    EXECUTE format('GRANT %I TO %I', owner, master);
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'rds_iam') AND NOT pg_has_role(app, 'rds_iam', 'MEMBER') THEN
        EXECUTE format('GRANT rds_iam TO %I', app);
    END IF;

    IF NOT (has_schema_privilege(owner, 'public', 'CREATE') AND has_schema_privilege(owner, 'public', 'USAGE')) THEN
        EXECUTE format('GRANT CREATE, USAGE ON SCHEMA public TO %I', owner);
    END IF;
    IF NOT has_schema_privilege(owner, 'public', 'CREATE') THEN
        RAISE EXCEPTION 'the role that migrates may not give the schema public to another';
    END IF;
    IF NOT has_database_privilege(app, current_database(), 'CONNECT') THEN
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), owner);
    END IF;

    -- What the master made before there was another role. Sequences go with the
    -- columns that own them; what belongs to an extension stays.
    FOR one IN
        SELECT c.oid::regclass AS name, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END AS kind
        FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S') AND c.relowner = master::regrole
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND (d.deptype = 'e' OR c.relkind = 'S' AND d.deptype IN ('a', 'i')))
        ORDER BY c.oid
    LOOP
        EXECUTE format('ALTER %s %s OWNER TO %I', one.kind, one.name, owner);
    END LOOP;
    FOR one IN
        SELECT p.oid::regprocedure AS name FROM pg_proc p
        WHERE p.pronamespace = 'public'::regnamespace AND p.proowner = master::regrole
          AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
    LOOP
        EXECUTE format('ALTER ROUTINE %s OWNER TO %I', one.name, owner);
    END LOOP;
END
$$;
