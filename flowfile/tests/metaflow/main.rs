//! Reading Metaflow flow files.

mod differential;
