//! Known answers of RFC 6962 and differential tests against a second implementation (`ct-merkle`).

use super::*;
use ct_merkle::mem_backed_tree::MemoryBackedTree;
use fettle_model::counter::{LogPosition, TreeSize};
use proptest::prelude::*;
use std::convert::Infallible;

/// Every complete node of a tree, as a log's storage would keep them.
struct Nodes {
    levels: Vec<Vec<Hash>>,
    frontier: Frontier,
}

impl Nodes {
    fn of(leaves: &[Vec<u8>]) -> Self {
        let mut nodes = Self { levels: Vec::new(), frontier: Frontier::new() };
        let Self { levels, frontier } = &mut nodes;
        for leaf in leaves {
            frontier.append_with(leaf_hash(leaf), |level, index, hash| {
                let level = usize::from(level);
                if levels.len() == level {
                    levels.push(Vec::new());
                }
                assert_eq!(levels[level].len(), usize::try_from(index).expect("small"), "nodes complete in order");
                levels[level].push(hash);
            });
        }
        nodes
    }

    fn read(&self) -> impl FnMut(u8, u64) -> Result<Hash, Infallible> {
        |level, index| Ok(self.levels[usize::from(level)][usize::try_from(index).expect("small")])
    }

    fn inclusion(&self, position: u64, size: u64) -> Vec<Hash> {
        inclusion_proof(LogPosition(position), TreeSize(size), self.read()).expect("in range")
    }

    fn consistency(&self, old: u64, new: u64) -> Vec<Hash> {
        consistency_proof(TreeSize(old), TreeSize(new), self.read()).expect("in range")
    }

    fn root(&self, size: u64) -> Hash {
        root_of(TreeSize(size), self.read()).expect("never fails")
    }
}

fn leaves(count: usize) -> Vec<Vec<u8>> {
    (0..count).map(|i| i.to_string().into_bytes()).collect()
}

fn other_tree(leaves: &[Vec<u8>]) -> MemoryBackedTree<Sha256, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    for leaf in leaves {
        tree.push(leaf.clone());
    }
    tree
}

fn concatenated(proof: &[Hash]) -> Vec<u8> {
    proof.iter().flat_map(|hash| hash.as_bytes().iter().copied()).collect()
}

#[test]
fn the_roots_of_the_certificate_transparency_vectors_come_out() {
    let inputs: [&[u8]; 8] = [
        &[],
        &[0x00],
        &[0x10],
        &[0x20, 0x21],
        &[0x30, 0x31],
        &[0x40, 0x41, 0x42, 0x43],
        &[0x50, 0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57],
        &[0x60, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x6b, 0x6c, 0x6d, 0x6e, 0x6f],
    ];
    let roots = [
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::new();
    for (size, root) in roots.iter().enumerate() {
        let hexadecimal: String = frontier.root().as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(&hexadecimal, root, "size {size}");
        if let Some(input) = inputs.get(size) {
            frontier.append(leaf_hash(input));
        }
    }
}

#[test]
fn every_proof_of_every_small_tree_verifies_and_agrees_with_a_second_implementation() {
    const SIZE: usize = 70;
    let leaves = leaves(SIZE);
    let nodes = Nodes::of(&leaves);
    for size in 1..=SIZE {
        let other = other_tree(&leaves[..size]);
        let size = u64::try_from(size).expect("small");
        let root = nodes.root(size);
        assert_eq!(root.as_bytes().as_slice(), other.root().as_bytes().as_slice(), "root of {size}");
        for position in 0..size {
            let at = usize::try_from(position).expect("small");
            let proof = nodes.inclusion(position, size);
            assert_eq!(concatenated(&proof), other.prove_inclusion(at).as_bytes(), "{position} of {size}");
            let leaf = leaf_hash(&leaves[at]);
            assert_eq!(verify_inclusion(&leaf, LogPosition(position), TreeSize(size), &proof, &root), Ok(()));
        }
        for old in 1..=size {
            let proof = nodes.consistency(old, size);
            let additions = usize::try_from(size - old).expect("small");
            if additions > 0 {
                assert_eq!(concatenated(&proof), other.prove_consistency(additions).as_bytes(), "{old} to {size}");
            }
            assert_eq!(
                verify_consistency(TreeSize(old), &nodes.root(old), TreeSize(size), &root, &proof),
                Ok(()),
                "{old} to {size}"
            );
        }
    }
}

#[test]
fn a_frontier_goes_on_from_its_parts() {
    let leaves = leaves(100);
    let nodes = Nodes::of(&leaves[..77]);
    let mut loaded = Frontier::load(TreeSize(77), nodes.read()).expect("never fails");
    assert_eq!(loaded, nodes.frontier);
    assert_eq!(Frontier::from_parts(loaded.size(), loaded.roots().to_vec()), Ok(loaded.clone()));
    for leaf in &leaves[77..] {
        loaded.append(leaf_hash(leaf));
    }
    assert_eq!(loaded.root(), Nodes::of(&leaves).frontier.root());
    assert_eq!(
        Frontier::from_parts(TreeSize(77), Vec::new()),
        Err(FrontierMismatch { size: TreeSize(77), expected: 4, found: 0 })
    );
}

#[test]
fn what_cannot_be_proved_is_refused() {
    let nodes = Nodes::of(&leaves(4));
    let out_of_range = inclusion_proof(LogPosition(4), TreeSize(4), nodes.read());
    assert!(matches!(out_of_range, Err(ProveError::OutOfRange { .. })));
    for (old, new) in [(0, 4), (4, 3), (0, 0)] {
        let (old, new) = (TreeSize(old), TreeSize(new));
        assert!(matches!(consistency_proof(old, new, nodes.read()), Err(ProveError::Sizes { .. })));
        let root = nodes.root(new.0);
        assert_eq!(
            verify_consistency(old, &empty_root(), new, &root, &[]),
            Err(ProofMismatch::Sizes { old, new }),
            "size 0 is the caller's business"
        );
    }
    let leaf = leaf_hash(b"0");
    assert!(verify_inclusion(&leaf, LogPosition(0), TreeSize(0), &[], &empty_root()).is_err());
    let endless = vec![leaf; MAX_PROOF_HASHES + 1];
    let size = TreeSize(1 << 62);
    assert!(matches!(
        verify_inclusion(&leaf, LogPosition(0), size, &endless, &leaf),
        Err(ProofMismatch::Length { .. })
    ));
}

/// A way to spoil a proof.
#[derive(Debug, Clone)]
enum Spoil {
    Flip(prop::sample::Index, usize),
    Drop(prop::sample::Index),
    Double(prop::sample::Index),
    Append,
    Swap(prop::sample::Index),
}

fn spoils() -> impl Strategy<Value = Spoil> {
    prop_oneof![
        (any::<prop::sample::Index>(), 0..256_usize).prop_map(|(at, bit)| Spoil::Flip(at, bit)),
        any::<prop::sample::Index>().prop_map(Spoil::Drop),
        any::<prop::sample::Index>().prop_map(Spoil::Double),
        Just(Spoil::Append),
        any::<prop::sample::Index>().prop_map(Spoil::Swap),
    ]
}

fn spoilt(proof: &[Hash], spoil: &Spoil) -> Vec<Hash> {
    let mut proof = proof.to_vec();
    if proof.is_empty() {
        return vec![empty_root()];
    }
    let count = proof.len();
    match spoil {
        Spoil::Flip(at, bit) => proof[at.index(count)].0[bit / 8] ^= 1 << (bit % 8),
        Spoil::Drop(at) => {
            proof.remove(at.index(count));
        }
        Spoil::Double(at) => proof.insert(at.index(count), proof[at.index(count)]),
        Spoil::Append => proof.push(empty_root()),
        Spoil::Swap(at) if count > 1 => proof.swap(at.index(count), (at.index(count) + 1) % count),
        Spoil::Swap(_) => proof.push(empty_root()),
    }
    proof
}

proptest! {
    #[test]
    fn larger_trees_agree_with_a_second_implementation(size in 71..600_usize, at in any::<prop::sample::Index>(), old in any::<prop::sample::Index>()) {
        let leaves = leaves(size);
        let (nodes, other) = (Nodes::of(&leaves), other_tree(&leaves));
        let (at, old) = (at.index(size), old.index(size - 1) + 1);
        let (size64, at64, old64) = (size as u64, at as u64, old as u64);
        let root = nodes.frontier.root();
        prop_assert_eq!(root.as_bytes().to_vec(), other.root().as_bytes().to_vec());
        let inclusion = nodes.inclusion(at64, size64);
        prop_assert_eq!(concatenated(&inclusion), other.prove_inclusion(at).as_bytes().to_vec());
        prop_assert_eq!(verify_inclusion(&leaf_hash(&leaves[at]), LogPosition(at64), TreeSize(size64), &inclusion, &root), Ok(()));
        let consistency = nodes.consistency(old64, size64);
        prop_assert_eq!(concatenated(&consistency), other.prove_consistency(size - old).as_bytes().to_vec());
        prop_assert_eq!(verify_consistency(TreeSize(old64), &nodes.root(old64), TreeSize(size64), &root, &consistency), Ok(()));
    }

    #[test]
    fn a_spoilt_proof_proves_nothing(size in 2..200_u64, at in any::<prop::sample::Index>(), spoil in spoils()) {
        let leaves = leaves(usize::try_from(size).expect("small"));
        let nodes = Nodes::of(&leaves);
        let root = nodes.root(size);
        let at = at.index(leaves.len());
        let position = at as u64;
        let leaf = leaf_hash(&leaves[at]);
        let bad = spoilt(&nodes.inclusion(position, size), &spoil);
        prop_assert!(verify_inclusion(&leaf, LogPosition(position), TreeSize(size), &bad, &root).is_err());
        let old = position + 1;
        let bad = spoilt(&nodes.consistency(old, size), &spoil);
        prop_assert!(verify_consistency(TreeSize(old), &nodes.root(old), TreeSize(size), &root, &bad).is_err());
    }

    #[test]
    fn a_sound_proof_proves_nothing_else(size in 2..200_u64, at in any::<prop::sample::Index>(), elsewhere in 1..200_u64) {
        let leaves = leaves(usize::try_from(size).expect("small"));
        let nodes = Nodes::of(&leaves);
        let root = nodes.root(size);
        let position = at.index(leaves.len()) as u64;
        let leaf = leaf_hash(&leaves[at.index(leaves.len())]);
        let proof = nodes.inclusion(position, size);
        prop_assert!(verify_inclusion(&empty_root(), LogPosition(position), TreeSize(size), &proof, &root).is_err());
        prop_assert!(verify_inclusion(&leaf, LogPosition(position), TreeSize(size), &proof, &leaf).is_err());
        let other = (position + elsewhere) % size;
        if other != position {
            prop_assert!(verify_inclusion(&leaf, LogPosition(other), TreeSize(size), &proof, &root).is_err());
        }
        let old = position + 1;
        let proof = nodes.consistency(old, size);
        prop_assert!(verify_consistency(TreeSize(old), &empty_root(), TreeSize(size), &root, &proof).is_err());
        prop_assert!(verify_consistency(TreeSize(old), &nodes.root(old), TreeSize(size), &empty_root(), &proof).is_err());
    }
}
