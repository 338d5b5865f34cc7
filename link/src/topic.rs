//! Topics with schemes as data.
