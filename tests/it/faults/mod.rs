//! Faults made on purpose: crashes, outages, slow and broken networks.

mod acknowledgements;
mod cluster;
mod crashes;
mod lost_acknowledgement;
mod network;
mod outages;
mod random_faults;
