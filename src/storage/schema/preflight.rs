use super::migrate_error::MigrateError;
use super::table_shape::{self, Misshape};
use crate::storage::database::Database;
use crate::storage::error::StorageError;
use crate::storage::limits::Limits;
use crate::storage::statement::{query_as, sql};

/// Which of the tables exist.
#[derive(sqlx::FromRow)]
struct Tables {
    of_the_backend: bool,
    snapshots: bool,
}

/// A column that `public.snapshots` lacks.
#[derive(sqlx::FromRow)]
struct MissingColumn {
    /// With its type.
    name: String,
    /// What would add it; `None` where there is one of that name and another type.
    add: Option<String>,
}

struct PreflightFacts {
    tables: Tables,
    misshapes: Vec<Misshape>,
    missing: Vec<MissingColumn>,
}

/// Fails where the database is not one that can be migrated; changes nothing.
pub(super) async fn preflight(database: &Database) -> Result<(), MigrateError> {
    let PreflightFacts { tables, misshapes, missing } = find(database).await?;
    if !tables.snapshots {
        return if tables.of_the_backend { Ok(()) } else { Err(MigrateError::BackendTablesMissing) };
    }
    // The kind of table first: no column makes a view one.
    let misshape = misshapes.into_iter().find(|misshape| missing.is_empty() || misshape.is_of_its_kind);
    if let Some(Misshape { message, fix, .. }) = misshape {
        return Err(MigrateError::OtherSnapshots { message, fix });
    }
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|column| column.name.as_str()).collect();
    let add: Vec<_> = missing.iter().filter_map(|column| column.add.as_deref()).collect();
    let fix = if add.len() == missing.len() {
        format!("as the owner: ALTER TABLE public.snapshots {};", add.join(", "))
    } else {
        "columns of these names have other types".to_owned()
    };
    Err(MigrateError::OtherSnapshots { message: format!("it lacks {}", names.join(", ")), fix })
}

async fn find(database: &Database) -> Result<PreflightFacts, StorageError> {
    let mut tx = database.begin(Limits::SHORT, "examine the backend's tables").await?;
    let tables = tx.fetch_one(query_as(sql!("preflight_tables.sql"))).await?;
    let misshapes = table_shape::misshapes(&mut tx).await?;
    let missing = tx.fetch_all(query_as(sql!("preflight_columns.sql"))).await?;
    tx.commit(PreflightFacts { tables, misshapes, missing }).await
}
