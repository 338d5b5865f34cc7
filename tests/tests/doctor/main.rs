//! `probe doctor` against a broker on which each fault is made for real: the code that it gives, and no other.

mod bed;
mod faults;
mod other_end;
mod random;
mod setup;
mod static_files;
