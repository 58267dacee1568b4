//! The tree's hashes as C2SP tiles: full ones are immutable files, the right edge is in memory.
//!
//! Everything here is derived from the journal's leaves, so nothing is fsynced: a tile that is missing
//! or torn after a crash is written again at the next start, before anything is proved from it.

use fettle_audit::tile::{
    InvalidTile, NodeError, TILE_WIDTH, TileKind, TilePath, decode_hashes, encode_hashes, node_from_tiles,
};
use fettle_audit::tree::{Frontier, Hash};
use fettle_model::counter::TreeSize;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Full tiles that are kept in memory after they were read: 64 tiles of 8 KiB are half a megabyte and
/// cover the last 4 million leaves' upper levels and the 16 000 newest leaves.
const CACHED_TILES: usize = 64;

/// Why a tile could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TilesError {
    /// The file system failed.
    #[error("the tile {path} could not be read or written")]
    Io {
        /// Which.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A tile's content is not what its name says.
    #[error("the tile {path} is damaged")]
    Damaged {
        /// Which.
        path: String,
        /// How.
        #[source]
        source: InvalidTile,
    },
    /// The tree has no such node.
    #[error("the tree has no such node: {0}")]
    NoNode(String),
}

/// The tree.
#[derive(Debug)]
pub struct Tiles {
    folder: PathBuf,
    frontier: Frontier,
    /// The partial tile of each tile level.
    edge: Vec<Vec<Hash>>,
    /// One thread owns the tree; a borrow never spans a file operation.
    cache: RefCell<BTreeMap<TilePath, Vec<Hash>>>,
}

impl Tiles {
    /// An empty tree whose full tiles go below `folder`. Leaves are appended again at every start.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, frontier: Frontier::new(), edge: Vec::new(), cache: RefCell::new(BTreeMap::new()) }
    }

    /// How many leaves it has.
    #[must_use]
    pub const fn size(&self) -> TreeSize {
        self.frontier.size()
    }

    /// Its root.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// Adds a leaf; writes the tiles that became full with it.
    ///
    /// # Errors
    /// When a tile cannot be written.
    pub fn append(&mut self, leaf: Hash) -> Result<(), TilesError> {
        let mut complete = Vec::new();
        // Tile level n holds the nodes of tree level 8 n.
        self.frontier.append_with(leaf, |level, index, hash| {
            if level % 8 == 0 {
                complete.push((usize::from(level / 8), index, hash));
            }
        });
        for (level, index, hash) in complete {
            while self.edge.len() <= level {
                self.edge.push(Vec::with_capacity(usize::from(TILE_WIDTH)));
            }
            let Some(edge) = self.edge.get_mut(level) else { continue };
            edge.push(hash);
            if edge.len() == usize::from(TILE_WIDTH) {
                let full = std::mem::replace(edge, Vec::with_capacity(usize::from(TILE_WIDTH)));
                self.write_full(level, index / u64::from(TILE_WIDTH), full)?;
            }
        }
        Ok(())
    }

    fn write_full(&self, level: usize, index: u64, hashes: Vec<Hash>) -> Result<(), TilesError> {
        let kind = TileKind::Hashes(u8::try_from(level).unwrap_or(u8::MAX));
        let path = TilePath::in_tree(kind, index, self.frontier.size())
            .ok_or_else(|| TilesError::NoNode(format!("tile {index} of level {level}")))?;
        let content =
            encode_hashes(path, &hashes).map_err(|source| TilesError::Damaged { path: path.to_string(), source })?;
        let file = self.folder.join(path.to_string());
        // The same content is found there after a restart; writing it again would only cost time.
        if std::fs::read(&file).ok().as_deref() != Some(&content) {
            write_whole(&file, &content).map_err(|source| TilesError::Io { path: path.to_string(), source })?;
        }
        self.remember(path, hashes);
        Ok(())
    }

    fn remember(&self, path: TilePath, hashes: Vec<Hash>) {
        let mut cache = self.cache.borrow_mut();
        if cache.len() >= CACHED_TILES {
            cache.pop_first();
        }
        cache.insert(path, hashes);
    }

    /// Root of a complete subtree, as the proof builders of `fettle-audit` ask for it, in the tree of
    /// its first `size` leaves.
    ///
    /// # Errors
    /// When the tree has no such node, or a tile cannot be read.
    pub fn node(&self, size: TreeSize, level: u8, index: u64) -> Result<Hash, TilesError> {
        node_from_tiles(size, level, index, |path| self.read(path)).map_err(|error| match error {
            NodeError::Read { source, .. } => source,
            NodeError::Incomplete { .. } | NodeError::Width { .. } => TilesError::NoNode(format!("{level}/{index}")),
        })
    }

    fn read(&self, path: TilePath) -> Result<Vec<Hash>, TilesError> {
        let level = match path.kind() {
            TileKind::Hashes(level) => usize::from(level),
            TileKind::Entries => return Err(TilesError::NoNode(path.to_string())),
        };
        let width = usize::from(path.width());
        let full_tiles = (self.frontier.size().0 >> (8 * level)) / u64::from(TILE_WIDTH);
        if path.index() >= full_tiles {
            return Ok(self.edge.get(level).map(|edge| edge.iter().take(width).copied().collect()).unwrap_or_default());
        }
        // A smaller tree's partial tile is the beginning of what is a full one by now.
        let whole = TilePath::in_tree(path.kind(), path.index(), self.frontier.size())
            .ok_or_else(|| TilesError::NoNode(path.to_string()))?;
        let cached = self.cache.borrow().get(&whole).cloned();
        let mut hashes = match cached {
            Some(hashes) => hashes,
            None => self.read_full(whole)?,
        };
        hashes.truncate(width);
        Ok(hashes)
    }

    fn read_full(&self, path: TilePath) -> Result<Vec<Hash>, TilesError> {
        let content = std::fs::read(self.folder.join(path.to_string()))
            .map_err(|source| TilesError::Io { path: path.to_string(), source })?;
        let hashes =
            decode_hashes(path, &content).map_err(|source| TilesError::Damaged { path: path.to_string(), source })?;
        self.remember(path, hashes.clone());
        Ok(hashes)
    }
}

/// Readers of the folder see a tile whole or not at all.
fn write_whole(file: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let unfinished = file.with_extension("unfinished");
    std::fs::write(&unfinished, content)?;
    std::fs::rename(&unfinished, file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fettle_audit::tree::{inclusion_proof, leaf_hash, verify_inclusion};
    use fettle_model::counter::LogPosition;

    fn grown(folder: &Path, size: u64) -> Tiles {
        let mut tiles = Tiles::new(folder.to_owned());
        for leaf in 0..size {
            tiles.append(leaf_hash(&leaf.to_be_bytes())).expect("appended");
        }
        tiles
    }

    #[track_caller]
    fn check(tiles: &Tiles, position: u64, size: u64, root: &Hash) {
        let (position, size) = (LogPosition(position), TreeSize(size));
        let proof = inclusion_proof(position, size, |level, index| tiles.node(size, level, index)).expect("a proof");
        let leaf = leaf_hash(&position.0.to_be_bytes());
        verify_inclusion(&leaf, position, size, &proof, root).expect("it verifies");
    }

    #[test]
    fn proofs_are_built_across_full_tiles_and_the_edge_and_for_older_sizes() {
        let folder = tempfile::tempdir().expect("a folder");
        let size = 2 * 256 * 256 + 3 * 256 + 17;
        let tiles = grown(folder.path(), size);
        let root = tiles.root();
        for position in [0, 255, 256, 65_535, 65_536, 131_072, size - 18, size - 17, size - 1] {
            check(&tiles, position, size, &root);
        }
        for old in [1, 255, 256, 257, 65_536, 70_000] {
            let mut smaller = Frontier::new();
            (0..old).for_each(|leaf: u64| smaller.append(leaf_hash(&leaf.to_be_bytes())));
            check(&tiles, old / 2, old, &smaller.root());
        }
    }

    #[test]
    fn a_tile_that_is_torn_or_missing_is_written_again_at_the_next_start() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = grown(folder.path(), 600).root();
        std::fs::write(folder.path().join("tile/0/000"), b"torn").expect("written");
        std::fs::remove_file(folder.path().join("tile/0/001")).expect("removed");
        let tiles = grown(folder.path(), 600);
        assert_eq!(tiles.root(), root);
        tiles.cache.borrow_mut().clear();
        check(&tiles, 3, 600, &root);
        check(&tiles, 300, 600, &root);
    }
}
