//! Positions in the change feed, and the consistency tokens made of them (REV).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::ids::OrganizationId;

/// How many shards the organizations are spread over.
pub const ORGANIZATION_SHARDS: u8 = 16;
/// All shards: those of organizations and the global one.
pub const SHARDS: usize = ORGANIZATION_SHARDS as usize + 1;

/// One sequence of changes. An organization's shard is fixed when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u8);

impl Shard {
    /// The shard of what belongs to no organization.
    pub const GLOBAL: Self = Self(ORGANIZATION_SHARDS);

    /// The shard of this number; none if there is no such shard.
    #[must_use]
    pub fn new(number: i16) -> Option<Self> {
        let number = u8::try_from(number).ok()?;
        (usize::from(number) < SHARDS).then_some(Self(number))
    }

    /// The shard that a new organization is put on.
    #[must_use]
    pub fn assign(organization: &OrganizationId) -> Self {
        let hash = crc32fast::hash(organization.as_str().as_bytes());
        Self((hash % u32::from(ORGANIZATION_SHARDS)) as u8)
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> i16 {
        i16::from(self.0)
    }
}

/// One history of one database; a restore starts another (`portcullis new-epoch`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub Uuid);

/// How far every shard has come. Sequence 0: nothing has happened yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position([i64; SHARDS]);

impl Position {
    /// The sequence reached on a shard.
    #[must_use]
    pub fn sequence(&self, shard: Shard) -> i64 {
        self.0.get(usize::from(shard.0)).copied().unwrap_or(0)
    }

    /// Notes that a shard has reached a sequence.
    pub fn set(&mut self, shard: Shard, sequence: i64) {
        if let Some(slot) = self.0.get_mut(usize::from(shard.0)) {
            *slot = sequence;
        }
    }

    /// Whether everything the token names has been reached; the epochs must be compared before.
    #[must_use]
    pub fn covers(&self, token: &Token) -> bool {
        token.entries.iter().all(|(shard, sequence)| self.sequence(*shard) >= *sequence)
    }

    /// The token for what was decided or read here about an organization on `shard`.
    #[must_use]
    pub fn token(&self, epoch: Epoch, shard: Option<Shard>) -> Token {
        let at = |shard| (shard, self.sequence(shard));
        let entries = shard.into_iter().chain([Shard::GLOBAL]).map(at).collect();
        Token { epoch, entries }
    }

    /// The token for what was read here about any organization.
    #[must_use]
    pub fn token_of_all(&self, epoch: Epoch) -> Token {
        let shards = (0..).map_while(Shard::new);
        Token { epoch, entries: shards.map(|shard| (shard, self.sequence(shard))).collect() }
    }
}

/// A consistency token: a position, never a lease. Opaque to clients (REV-4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The database history it belongs to.
    pub epoch: Epoch,
    /// The sequences it names, one a shard.
    pub entries: Vec<(Shard, i64)>,
}

/// A text that is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no consistency token; pass one back exactly as a response gave it")]
pub struct MalformedToken;

const FORMAT: u8 = 1;
const HEADER: usize = 17;
const ENTRY: usize = 9;
const CHECKSUM: usize = 4;

impl Token {
    /// The text that clients carry: base64url of the format, the epoch, the entries, a checksum.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut bytes = Vec::with_capacity(HEADER + ENTRY * self.entries.len() + CHECKSUM);
        bytes.push(FORMAT);
        bytes.extend_from_slice(self.epoch.0.as_bytes());
        for (shard, sequence) in &self.entries {
            bytes.push(shard.0);
            bytes.extend_from_slice(&sequence.to_be_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token back.
    ///
    /// # Errors
    /// The text is not what [`Token::encode`] made.
    pub fn decode(text: &str) -> Result<Self, MalformedToken> {
        let longest = HEADER + ENTRY * SHARDS + CHECKSUM;
        if text.len() > longest * 4 / 3 + 4 {
            return Err(MalformedToken);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| MalformedToken)?;
        let body = bytes.len().checked_sub(CHECKSUM).ok_or(MalformedToken)?;
        let (body, checksum) = bytes.split_at_checked(body).ok_or(MalformedToken)?;
        if crc32fast::hash(body).to_be_bytes() != *checksum {
            return Err(MalformedToken);
        }
        let (header, entries) = body.split_at_checked(HEADER).ok_or(MalformedToken)?;
        let (format, epoch) = header.split_first().ok_or(MalformedToken)?;
        let epoch = Uuid::from_slice(epoch).map_err(|_| MalformedToken)?;
        if *format != FORMAT || entries.len() % ENTRY != 0 {
            return Err(MalformedToken);
        }
        let entries = entries.chunks_exact(ENTRY).map(decode_entry).collect::<Option<_>>();
        Ok(Self { epoch: Epoch(epoch), entries: entries.ok_or(MalformedToken)? })
    }
}

fn decode_entry(bytes: &[u8]) -> Option<(Shard, i64)> {
    let (shard, sequence) = bytes.split_first()?;
    let sequence = i64::from_be_bytes(sequence.try_into().ok()?);
    (sequence >= 0).then_some((Shard::new(i16::from(*shard))?, sequence))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rev_4_a_token_reads_back_and_a_damaged_one_is_refused() {
        let mut position = Position::default();
        position.set(Shard(3), 42);
        let token = position.token(Epoch(Uuid::from_u128(7)), Some(Shard(3)));
        let text = token.encode();
        assert_eq!(Token::decode(&text), Ok(token));
        for index in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[index] = if damaged[index] == b'A' { b'B' } else { b'A' };
            let damaged = String::from_utf8(damaged).unwrap();
            assert_eq!(Token::decode(&damaged), Err(MalformedToken), "byte {index}");
        }
        assert_eq!(Token::decode(""), Err(MalformedToken));
        assert_eq!(Token::decode(&"A".repeat(100_000)), Err(MalformedToken));
    }

    #[test]
    fn rev_1_a_position_covers_a_token_only_if_it_has_reached_every_entry() {
        let (epoch, mut position) = (Epoch(Uuid::nil()), Position::default());
        position.set(Shard(1), 5);
        let token = |sequence| Token { epoch, entries: vec![(Shard(1), sequence)] };
        assert!(position.covers(&token(5)));
        assert!(!position.covers(&token(6)));
    }
}
