use uuid::Uuid;

use super::World;

/// What keeps a row from being deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// A trigger that raises this SQLSTATE.
    Raises(&'static str),
    /// A trigger that keeps it and says nothing.
    Keeps,
    /// A foreign key.
    Referenced,
}

/// The policy that hides rows from the worker's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    SelectNothing,
    DeleteNothing,
    LockNothing,
    /// A restrictive one, of which half of the rows are left.
    Half,
}

impl World {
    /// Puts an obstacle before one row; nothing happens where a foreign key is to refer to a row that is being deleted.
    pub async fn obstruct(&self, row: Uuid, obstacle: Obstacle) {
        let argument = match obstacle {
            Obstacle::Raises(sqlstate) => sqlstate,
            Obstacle::Keeps => "keeps",
            Obstacle::Referenced => {
                self.sql(format!(
                    r"
                        CREATE TABLE IF NOT EXISTS public.refers (id UUID REFERENCES public.snapshots (id));
                        INSERT INTO public.refers SELECT id FROM public.snapshots
                            WHERE id = '{row}' FOR KEY SHARE SKIP LOCKED"
                ))
                .await;
                return;
            }
        };
        self.sql(format!(
            r"
                CREATE OR REPLACE FUNCTION public.obstacle() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN
                    IF TG_ARGV[0] = 'keeps' THEN RETURN NULL; END IF;
                    RAISE EXCEPTION 'not this one' USING ERRCODE = TG_ARGV[0];
                END $$;
                CREATE OR REPLACE TRIGGER obstacle_{} BEFORE DELETE ON public.snapshots
                    FOR EACH ROW WHEN (OLD.id = '{row}')
                    EXECUTE FUNCTION public.obstacle('{argument}')",
            row.simple()
        ))
        .await;
    }

    /// Removes every obstacle.
    pub async fn clear_obstacles(&self) {
        // Locked in the order in which a delete does.
        self.sql(
            r"
                SET client_min_messages = warning;
                BEGIN; LOCK TABLE public.snapshots; DROP TABLE IF EXISTS public.refers;
                DROP FUNCTION IF EXISTS public.obstacle CASCADE; COMMIT",
        )
        .await;
    }

    /// Hides rows from a role of deploy/sql/worker-role.sql. Row-level security must be enabled.
    pub async fn hide_rows(&self, role: &str, policy: Policy) {
        self.sql(match policy {
            Policy::SelectNothing => format!("ALTER POLICY {role}_select ON public.snapshots USING (false)"),
            Policy::DeleteNothing => format!("ALTER POLICY {role}_delete ON public.snapshots USING (false)"),
            Policy::LockNothing => format!("ALTER POLICY {role}_lock ON public.snapshots USING (false)"),
            Policy::Half => r"
                DROP POLICY IF EXISTS half ON public.snapshots;
                CREATE POLICY half ON public.snapshots AS RESTRICTIVE USING (hashtext(id::text) % 2 = 0)"
                .to_owned(),
        })
        .await;
    }

    /// Shows all rows to the role again.
    pub async fn show_rows(&self, role: &str) {
        self.sql(format!(
            r"
                SET client_min_messages = warning;
                ALTER POLICY {role}_select ON public.snapshots USING (true);
                ALTER POLICY {role}_delete ON public.snapshots USING (true);
                ALTER POLICY {role}_lock ON public.snapshots USING (true);
                DROP POLICY IF EXISTS half ON public.snapshots"
        ))
        .await;
    }
}
