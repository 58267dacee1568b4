//! Tiles: the tree as immutable files (C2SP tlog-tiles, version 0.1).
//!
//! The control plane writes them and anybody may serve them; proofs are built by reading nodes from
//! them. A tile holds up to 256 hashes of one level, or the leaves themselves. Computes names and
//! contents only: never opens a file.

use crate::encoding::from_decimal;
use crate::tree::{Hash, node_hash};
use fettle_model::counter::TreeSize;
use std::fmt;
use std::str::FromStr;

/// Hashes, or leaves, in a full tile.
pub const TILE_WIDTH: u16 = 256;
/// Tree levels that one tile spans: 2^8 hashes.
const TILE_HEIGHT: u8 = 8;
/// Highest tile level: 2^(8 * 8) leaves are more than a log can have.
const MAX_TILE_LEVEL: u8 = 7;
/// Longest leaf in a tile of entries: its length is two bytes.
pub const MAX_ENTRY_BYTES: usize = 65_535;

/// What a tile holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TileKind {
    /// Hashes of this tile level: each is the root over 256^level leaves.
    Hashes(u8),
    /// The leaves.
    Entries,
}

/// Names one tile. Text form: `tile/0/x001/x234/067` or, for a partial one, `tile/entries/000.p/5`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TilePath {
    kind: TileKind,
    index: u64,
    width: u16,
}

/// The text names no tile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} names no tile")]
pub struct InvalidTilePath {
    /// What was given, cut to 120 characters.
    pub text: String,
}

/// A tile's content is not what its name says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTile {
    /// Not as many hashes or leaves as the tile is wide.
    #[error("{path} does not hold exactly {} items", path.width)]
    Width {
        /// The tile.
        path: TilePath,
    },
    /// A leaf is longer than [`MAX_ENTRY_BYTES`].
    #[error("a leaf of {bytes} bytes does not fit a tile")]
    LongEntry {
        /// How long it is.
        bytes: usize,
    },
}

/// A node was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError<E> {
    /// The node is not complete in a tree of this size.
    #[error("node {index} of level {level} is not complete in a tree of {size} leaves")]
    Incomplete {
        /// The node's level.
        level: u8,
        /// Its index within the level.
        index: u64,
        /// The tree's size.
        size: TreeSize,
    },
    /// The reader gave another number of hashes than the tile is wide.
    #[error("{path} does not hold exactly {} hashes", path.width)]
    Width {
        /// The tile.
        path: TilePath,
    },
    /// The tile could not be read.
    #[error("{path} could not be read")]
    Read {
        /// The tile.
        path: TilePath,
        /// Why.
        #[source]
        source: E,
    },
}

impl TilePath {
    /// The tile of this kind and index in a tree of this size; `None` when the tree has no such tile.
    #[must_use]
    pub fn in_tree(kind: TileKind, index: u64, size: TreeSize) -> Option<Self> {
        let level = match kind {
            TileKind::Hashes(level) if level > MAX_TILE_LEVEL => return None,
            TileKind::Hashes(level) => level,
            TileKind::Entries => 0,
        };
        let items = (size.0 >> (level * TILE_HEIGHT)).checked_sub(index.checked_mul(u64::from(TILE_WIDTH))?)?;
        let width = u16::try_from(items).unwrap_or(TILE_WIDTH).min(TILE_WIDTH);
        (width > 0).then_some(Self { kind, index, width })
    }

    /// What it holds.
    #[must_use]
    pub const fn kind(&self) -> TileKind {
        self.kind
    }

    /// Its index within its level.
    #[must_use]
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// How many hashes or leaves it holds, 1 to 256.
    #[must_use]
    pub const fn width(&self) -> u16 {
        self.width
    }

    /// Whether it will never change.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.width == TILE_WIDTH
    }
}

impl fmt::Display for TilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            TileKind::Hashes(level) => write!(f, "tile/{level}/")?,
            TileKind::Entries => f.write_str("tile/entries/")?,
        }
        let mut groups = vec![self.index % 1_000];
        let mut rest = self.index / 1_000;
        while rest > 0 {
            groups.push(rest % 1_000);
            rest /= 1_000;
        }
        while let Some(group) = groups.pop() {
            if groups.is_empty() { write!(f, "{group:03}")? } else { write!(f, "x{group:03}/")? }
        }
        if self.is_full() { Ok(()) } else { write!(f, ".p/{}", self.width) }
    }
}

impl FromStr for TilePath {
    type Err = InvalidTilePath;

    fn from_str(text: &str) -> Result<Self, InvalidTilePath> {
        parse_path(text)
            .filter(|path| path.to_string() == text)
            .ok_or_else(|| InvalidTilePath { text: text.chars().take(120).collect() })
    }
}

/// Takes more spellings than the one: the caller compares with what `Display` writes.
fn parse_path(text: &str) -> Option<TilePath> {
    let (kind, rest) = text.strip_prefix("tile/")?.split_once('/')?;
    let kind = match kind {
        "entries" => TileKind::Entries,
        level => TileKind::Hashes(u8::try_from(from_decimal(level)?).ok().filter(|level| *level <= MAX_TILE_LEVEL)?),
    };
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => {
            (index, u16::try_from(from_decimal(width)?).ok().filter(|w| (1..TILE_WIDTH).contains(w))?)
        }
        None => (rest, TILE_WIDTH),
    };
    let mut number = 0_u64;
    for group in index.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        let sound = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
        number = number.checked_mul(1_000)?.checked_add(digits.parse().ok().filter(|_: &u64| sound)?)?;
    }
    Some(TilePath { kind, index: number, width })
}

/// The tiles that a tree of size `new` has and one of size `old` has not, level by level: the ones
/// to write after an append. Partial tiles that grew are among them under their new width.
pub fn new_tiles(old: TreeSize, new: TreeSize) -> impl Iterator<Item = TilePath> {
    let kinds = std::iter::once(TileKind::Entries).chain((0..=MAX_TILE_LEVEL).map(TileKind::Hashes));
    kinds.flat_map(move |kind| {
        let shift = match kind {
            TileKind::Entries => 0,
            TileKind::Hashes(level) => level * TILE_HEIGHT,
        };
        let (old_items, new_items) = (old.0 >> shift, new.0 >> shift);
        let first = old_items / u64::from(TILE_WIDTH);
        let end = if new_items > old_items { new_items.div_ceil(u64::from(TILE_WIDTH)) } else { first };
        (first..end).filter_map(move |index| TilePath::in_tree(kind, index, new))
    })
}

/// The content of a tile of hashes.
///
/// # Errors
/// When there are not as many as the tile is wide.
pub fn encode_hashes(path: TilePath, hashes: &[Hash]) -> Result<Vec<u8>, InvalidTile> {
    if hashes.len() == usize::from(path.width) {
        Ok(hashes.iter().flat_map(Hash::as_bytes).copied().collect())
    } else {
        Err(InvalidTile::Width { path })
    }
}

/// The hashes in a tile.
///
/// # Errors
/// When there are not as many as the tile is wide.
pub fn decode_hashes(path: TilePath, content: &[u8]) -> Result<Vec<Hash>, InvalidTile> {
    let (hashes, rest) = content.as_chunks::<32>();
    if hashes.len() == usize::from(path.width) && rest.is_empty() {
        Ok(hashes.iter().copied().map(Hash::from_bytes).collect())
    } else {
        Err(InvalidTile::Width { path })
    }
}

/// The content of a tile of leaves: each with its length before it, two bytes, big-endian.
///
/// # Errors
/// When there are not as many as the tile is wide, or one is too long.
pub fn encode_entries<L: AsRef<[u8]>>(path: TilePath, leaves: &[L]) -> Result<Vec<u8>, InvalidTile> {
    if leaves.len() != usize::from(path.width) {
        return Err(InvalidTile::Width { path });
    }
    let mut content = Vec::new();
    for leaf in leaves.iter().map(AsRef::as_ref) {
        let length = u16::try_from(leaf.len()).map_err(|_| InvalidTile::LongEntry { bytes: leaf.len() })?;
        content.extend_from_slice(&length.to_be_bytes());
        content.extend_from_slice(leaf);
    }
    Ok(content)
}

/// The leaves in a tile.
///
/// # Errors
/// When there are not as many as the tile is wide.
pub fn decode_entries(path: TilePath, content: &[u8]) -> Result<Vec<&[u8]>, InvalidTile> {
    let wrong = || InvalidTile::Width { path };
    let mut leaves = Vec::with_capacity(usize::from(path.width));
    let mut rest = content;
    while !rest.is_empty() && leaves.len() < usize::from(path.width) {
        let (length, tail) = rest.split_first_chunk::<2>().ok_or_else(wrong)?;
        let (leaf, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length))).ok_or_else(wrong)?;
        leaves.push(leaf);
        rest = tail;
    }
    if rest.is_empty() && leaves.len() == usize::from(path.width) { Ok(leaves) } else { Err(wrong()) }
}

/// Root of the complete subtree `index` of tree level `level`, read from the tiles of a tree of this
/// size: the node reader that [`crate::tree`]'s proof builders want.
///
/// # Errors
/// When the tree has no such node, and those of `read`.
pub fn node_from_tiles<E>(
    size: TreeSize,
    level: u8,
    index: u64,
    read: impl FnOnce(TilePath) -> Result<Vec<Hash>, E>,
) -> Result<Hash, NodeError<E>> {
    let incomplete = || NodeError::Incomplete { level, index, size };
    let (tile_level, height) = (level / TILE_HEIGHT, level % TILE_HEIGHT);
    let start = index.checked_mul(1 << height).ok_or_else(incomplete)?;
    let count = 1_usize << height;
    let offset = usize::try_from(start % u64::from(TILE_WIDTH)).map_err(|_| incomplete())?;
    let path = TilePath::in_tree(TileKind::Hashes(tile_level), start / u64::from(TILE_WIDTH), size)
        .filter(|path| offset + count <= usize::from(path.width))
        .ok_or_else(incomplete)?;
    let hashes = read(path).map_err(|source| NodeError::Read { path, source })?;
    if hashes.len() != usize::from(path.width) {
        return Err(NodeError::Width { path });
    }
    let mut row = hashes.get(offset..offset + count).ok_or_else(incomplete)?.to_vec();
    while row.len() > 1 {
        row = row.as_chunks::<2>().0.iter().map(|[left, right]| node_hash(left, right)).collect();
    }
    row.first().copied().ok_or_else(incomplete)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Frontier, inclusion_proof, leaf_hash, root_of, verify_inclusion};
    use fettle_model::counter::LogPosition;
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    #[track_caller]
    fn check_path(kind: TileKind, index: u64, size: u64, expected: &str) {
        let path = TilePath::in_tree(kind, index, TreeSize(size)).expect("the tree has this tile");
        assert_eq!(path.to_string(), expected);
        assert_eq!(expected.parse(), Ok(path));
    }

    #[test]
    fn paths_are_those_of_the_specification() {
        check_path(TileKind::Hashes(0), 1_234_067, u64::MAX >> 8, "tile/0/x001/x234/067");
        check_path(TileKind::Hashes(0), 273, 70_000, "tile/0/273.p/112");
        check_path(TileKind::Hashes(1), 1, 70_000, "tile/1/001.p/17");
        check_path(TileKind::Hashes(2), 0, 70_000, "tile/2/000.p/1");
        check_path(TileKind::Hashes(0), 0, 256, "tile/0/000");
        check_path(TileKind::Entries, 0, 5, "tile/entries/000.p/5");
        assert_eq!(TilePath::in_tree(TileKind::Hashes(0), 1, TreeSize(256)), None);
        assert_eq!(TilePath::in_tree(TileKind::Hashes(9), 0, TreeSize(256)), None);
    }

    #[test]
    fn a_tile_has_one_path() {
        for other in [
            "tile/0/00",
            "tile/0/0000",
            "tile/0/x000/001",
            "tile/0/001/002",
            "tile/00/001",
            "tile/8/001",
            "tile/0/001.p/0",
            "tile/0/001.p/256",
            "tile/0/001.p/01",
            "tile/0/../001",
            "/tile/0/001",
            "tile/0/+01",
            "tile/0/x999/x999/x999/x999/x999/x999/x999/999",
        ] {
            assert!(other.parse::<TilePath>().is_err(), "{other}");
        }
    }

    #[test]
    fn an_append_makes_the_tiles_that_the_specification_counts() {
        let tiles: Vec<String> = new_tiles(TreeSize(69_888), TreeSize(70_000)).map(|path| path.to_string()).collect();
        assert_eq!(tiles, ["tile/entries/273.p/112", "tile/0/273.p/112"]);
        assert_eq!(new_tiles(TreeSize(0), TreeSize(70_000)).count(), 274 + 274 + 2 + 1);
        assert_eq!(new_tiles(TreeSize(5), TreeSize(5)).count(), 0);
        let full: Vec<String> = new_tiles(TreeSize(255), TreeSize(256)).map(|path| path.to_string()).collect();
        assert_eq!(full, ["tile/entries/000", "tile/0/000", "tile/1/000.p/1"]);
    }

    #[test]
    fn proofs_built_from_tiles_verify_across_tile_boundaries() {
        const SIZE: u64 = 66_000;
        let mut levels: BTreeMap<u8, Vec<Hash>> = BTreeMap::new();
        let mut frontier = Frontier::new();
        for i in 0..SIZE {
            frontier.append_with(leaf_hash(&i.to_be_bytes()), |level, _, hash| {
                levels.entry(level).or_default().push(hash);
            });
        }
        let size = TreeSize(SIZE);
        let tile = |path: TilePath| -> Result<Vec<Hash>, Infallible> {
            let TileKind::Hashes(level) = path.kind() else { return Ok(Vec::new()) };
            let start = usize::try_from(path.index()).expect("small") * 256;
            Ok(levels[&(level * 8)][start..start + usize::from(path.width())].to_vec())
        };
        let mut node = |level, index| node_from_tiles(size, level, index, tile);
        assert_eq!(root_of(size, &mut node), Ok(frontier.root()));
        for position in [0, 255, 256, 65_535, 65_536, SIZE - 1] {
            let proof = inclusion_proof(LogPosition(position), size, &mut node).expect("in range");
            let leaf = leaf_hash(&position.to_be_bytes());
            assert_eq!(verify_inclusion(&leaf, LogPosition(position), size, &proof, &frontier.root()), Ok(()));
        }
        assert!(matches!(node(0, SIZE), Err(NodeError::Incomplete { .. })));
        assert!(matches!(node(1, SIZE / 2), Err(NodeError::Incomplete { .. })));
        let short = node_from_tiles(size, 0, 0, |_| Ok::<_, Infallible>(Vec::new()));
        assert!(matches!(short, Err(NodeError::Width { .. })));
    }

    #[test]
    fn contents_come_back_and_their_width_is_checked() {
        let path = TilePath::in_tree(TileKind::Hashes(0), 0, TreeSize(2)).expect("a tile");
        let hashes = [leaf_hash(b"a"), leaf_hash(b"b")];
        let content = encode_hashes(path, &hashes).expect("two");
        assert_eq!(decode_hashes(path, &content), Ok(hashes.to_vec()));
        assert_eq!(decode_hashes(path, &content[..63]), Err(InvalidTile::Width { path }));
        assert_eq!(encode_hashes(path, &hashes[..1]), Err(InvalidTile::Width { path }));

        let entries = TilePath::in_tree(TileKind::Entries, 0, TreeSize(2)).expect("a tile");
        let content = encode_entries(entries, &[&b"ab"[..], b""]).expect("two");
        assert_eq!(content, b"\x00\x02ab\x00\x00");
        assert_eq!(decode_entries(entries, &content), Ok(vec![&b"ab"[..], b""]));
        for wrong in [&content[..3], &content[..4], b"", b"\x00\x02ab\x00\x00\x00\x00", b"\x00\x00\x00\x01"] {
            assert_eq!(decode_entries(entries, wrong), Err(InvalidTile::Width { path: entries }));
        }
        let long = vec![0; MAX_ENTRY_BYTES + 1];
        assert!(matches!(encode_entries(entries, &[long, Vec::new()]), Err(InvalidTile::LongEntry { .. })));
    }
}
