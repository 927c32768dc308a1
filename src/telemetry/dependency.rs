use crate::closed_set::closed_set;

closed_set! {
    /// What the worker cannot do without.
    pub enum Dependency {
        /// The database answers and lets us work.
        Postgres = "postgres",
        /// The broker delivers to us.
        Rabbitmq = "rabbitmq",
    }
}
