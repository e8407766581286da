//! Reading Metaflow flow files.

mod batch;
mod differential;
mod dumps;
mod faults;
mod folders;
mod mapping;
mod modules;
mod mutilated;
mod sidecars;
mod text;
mod unseen;
