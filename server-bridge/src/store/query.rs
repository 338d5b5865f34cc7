//! Queries of lists as data: a parser makes them from text, an engine turns them into parameterised SQL.

use super::progress::{ConditionStatus, WaitingFor};

/// One page of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Query<C> {
    /// Which rows; all without one.
    pub filter: Option<Filter<C>>,
    /// In which order; ties, and everything without one, in order of creation.
    pub order: Vec<Order<C>>,
    /// Rows to skip.
    pub offset: u64,
    /// Rows to give at most; 0 counts only.
    pub limit: u32,
}

/// Which parts of a bundle a reader wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Manifests and settings.
    pub content: bool,
    /// The newest status.
    pub status: bool,
    /// The hops of the last versions.
    pub ledger: bool,
    /// How far it has come.
    pub progress: bool,
}

/// Where a row stands in the order of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub(crate) i64);

/// One sort key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order<C> {
    /// The column.
    pub column: C,
    /// Descending.
    pub descending: bool,
}

/// A condition on a row, with SQL's three-valued logic: a comparison with an absent value is never true.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter<C> {
    /// Every condition holds.
    All(Vec<Self>),
    /// At least one condition holds.
    Any(Vec<Self>),
    /// The condition does not hold.
    Not(Box<Self>),
    /// Compares with a value.
    Compare(Subject<C>, Comparison, Value),
    /// Matches `%` and `_`, with `\` before a literal one; `fold` ignores ASCII case.
    Like {
        /// What is matched.
        subject: Subject<C>,
        /// The pattern.
        pattern: Pattern,
        /// Ignore ASCII case.
        fold: bool,
    },
    /// Equals one of the values.
    In(Subject<C>, Vec<Value>),
    /// Is absent.
    IsNull(Subject<C>),
    /// Stands behind this row in the order of creation.
    After(Cursor),
}

/// What a condition looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject<C> {
    /// A column.
    Column(C),
    /// The label of this name.
    Label(String),
    /// This member of the metadata, a text.
    Metadata(&'static str),
}

/// A literal of the subject's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// Text.
    Text(String),
    /// An integer, or a time in microseconds since 1970.
    Integer(i64),
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

/// A LIKE pattern, taken apart so that every engine escapes it its own way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(pub Vec<Glob>);

/// One piece of a [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Glob {
    /// `%`
    AnyText,
    /// `_`
    AnyChar,
    /// This character.
    Char(char),
}

/// The type of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// An integer.
    Integer,
    /// A point in time.
    Time,
}

/// The columns one resource can be searched and ordered by.
pub trait Column: Copy + Send + Sync + std::fmt::Debug + PartialEq + 'static {
    /// All of them, in the order they are shown.
    const ALL: &'static [Self];
    /// The name a caller writes; also the name of the SQL column.
    fn name(self) -> &'static str;
    /// The type of its values.
    fn kind(self) -> Kind;
    /// All values that it may have, if these are few words.
    fn words(self) -> Option<&'static [&'static str]> {
        None
    }
}

/// Columns of a bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleColumn {
    /// `id`
    Id,
    /// `name`
    Name,
    /// `source`
    Source,
    /// `consumer_name`
    ConsumerName,
    /// `version`
    Version,
    /// `created_at`
    CreatedAt,
    /// `updated_at`
    UpdatedAt,
    /// `deleted_at`
    DeletedAt,
    /// `applied`
    Applied,
    /// `available`
    Available,
    /// `status_version`
    StatusVersion,
    /// `status_at`
    StatusAt,
    /// `waiting_for`
    WaitingFor,
    /// `waiting_since`
    WaitingSince,
}

/// Columns of a consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConsumerColumn {
    /// `id`
    Id,
    /// `name`
    Name,
    /// `created_at`
    CreatedAt,
    /// `updated_at`
    UpdatedAt,
    /// `last_seen_at`
    LastSeenAt,
}

// === impl Comparison ===

impl Comparison {
    /// The operator as SQL and as the search language write it.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
        }
    }
}

// === impl Pattern ===

impl Pattern {
    /// As LIKE with `\` before a literal `%`, `_` and `\` takes it.
    pub(super) fn like(&self) -> String {
        let mut text = String::new();
        for piece in &self.0 {
            match piece {
                Glob::AnyText => text.push('%'),
                Glob::AnyChar => text.push('_'),
                Glob::Char(c @ ('%' | '_' | '\\')) => text.extend(['\\', *c]),
                Glob::Char(c) => text.push(*c),
            }
        }
        text
    }
}

// === impl Parts ===

impl Parts {
    /// What a list shows: content and status, no ledger.
    pub const LISTED: Self = Self {
        content: true,
        status: true,
        ledger: false,
        progress: false,
    };
    /// Everything.
    pub const ALL: Self = Self {
        content: true,
        status: true,
        ledger: true,
        progress: true,
    };
}

// === impl Column ===

impl Column for BundleColumn {
    const ALL: &'static [Self] = &[
        Self::Id,
        Self::Name,
        Self::Source,
        Self::ConsumerName,
        Self::Version,
        Self::CreatedAt,
        Self::UpdatedAt,
        Self::DeletedAt,
        Self::Applied,
        Self::Available,
        Self::StatusVersion,
        Self::StatusAt,
        Self::WaitingFor,
        Self::WaitingSince,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Name => "name",
            Self::Source => "source",
            Self::ConsumerName => "consumer_name",
            Self::Version => "version",
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::DeletedAt => "deleted_at",
            Self::Applied => "applied",
            Self::Available => "available",
            Self::StatusVersion => "status_version",
            Self::StatusAt => "status_at",
            Self::WaitingFor => "waiting_for",
            Self::WaitingSince => "waiting_since",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Id | Self::Name | Self::Source | Self::ConsumerName => Kind::Text,
            Self::Applied | Self::Available | Self::WaitingFor => Kind::Text,
            Self::Version | Self::StatusVersion => Kind::Integer,
            Self::CreatedAt | Self::UpdatedAt | Self::DeletedAt => Kind::Time,
            Self::StatusAt | Self::WaitingSince => Kind::Time,
        }
    }

    fn words(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Applied | Self::Available => Some(ConditionStatus::WORDS),
            Self::WaitingFor => Some(WaitingFor::WORDS),
            _ => None,
        }
    }
}

impl Column for ConsumerColumn {
    const ALL: &'static [Self] = &[
        Self::Id,
        Self::Name,
        Self::CreatedAt,
        Self::UpdatedAt,
        Self::LastSeenAt,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Name => "name",
            Self::CreatedAt => "created_at",
            Self::UpdatedAt => "updated_at",
            Self::LastSeenAt => "last_seen_at",
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::Id | Self::Name => Kind::Text,
            Self::CreatedAt | Self::UpdatedAt | Self::LastSeenAt => Kind::Time,
        }
    }
}
