//! The outbox in the effector's state: records that are kept until they are proven to be in the log. Used by the
//! loop, which sends them; nothing here judges a proof.

use super::{Store, StoreError, signed, unsigned};
use fettle_model::counter::AgentSequence;
use rusqlite::{OptionalExtension as _, params};

impl Store {
    /// Records after `sequence`, in order, at most `limit`.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn outbox_after(
        &self,
        sequence: AgentSequence,
        limit: u32,
    ) -> Result<Vec<(AgentSequence, Vec<u8>)>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT sequence, envelope FROM outbox WHERE sequence > ?1 ORDER BY sequence LIMIT ?2")?;
        let rows = statement.query_map(params![signed(sequence.0), limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.map(kept).collect()
    }

    /// Ends of runs and announced steps after `after` and up to `up_to` whose inclusion was not verified yet, in order.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn unproven_between(
        &self,
        after: AgentSequence,
        up_to: AgentSequence,
    ) -> Result<Vec<(AgentSequence, Vec<u8>)>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT sequence, envelope FROM outbox WHERE until_proven = 1 AND sequence > ?1 AND sequence <= ?2
             ORDER BY sequence",
        )?;
        let rows = statement.query_map([signed(after.0), signed(up_to.0)], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.map(kept).collect()
    }

    /// The envelope at a place of the chain, while it is kept.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn outbox_at(&self, sequence: AgentSequence) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self
            .connection
            .prepare_cached("SELECT envelope FROM outbox WHERE sequence = ?1")?
            .query_row([signed(sequence.0)], |row| row.get(0))
            .optional()?)
    }

    /// Drops the record at `sequence`, whose inclusion was verified, and those before it, which it names by
    /// their digests. The end of a run stays until it was verified itself, and so does the head of the chain:
    /// the next record needs its digest.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn drop_published(&mut self, sequence: AgentSequence) -> Result<(), StoreError> {
        let proven = signed(sequence.0);
        let transaction = self.connection.transaction()?;
        transaction.execute("UPDATE outbox SET until_proven = 0 WHERE sequence = ?1", [proven])?;
        transaction.execute(
            "DELETE FROM outbox WHERE sequence <= ?1 AND until_proven = 0
             AND sequence < (SELECT MAX(sequence) FROM outbox)",
            [proven],
        )?;
        Ok(transaction.commit()?)
    }
}

fn kept(row: rusqlite::Result<(i64, Vec<u8>)>) -> Result<(AgentSequence, Vec<u8>), StoreError> {
    let (sequence, envelope) = row?;
    Ok((AgentSequence(unsigned(sequence, "sequence")?), envelope))
}
