//! The shape of the database: what `migrate` makes, and whether the table and the role are such that a delete reaches every row.

pub(super) mod access;
pub(super) mod migrate;
pub(super) mod table_shape;
