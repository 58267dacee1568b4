//! The requests for permits in the effector's state whose answer is awaited. What of them is good on this boot is
//! decided where they are read.

use super::{NewRecord, Store, StoreError, Value, insert_record, set_value};
use fettle_model::id::RequestId;

impl Store {
    /// Keeps a request whose answer is awaited together with its record, in one transaction.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append_request(
        &mut self,
        record: NewRecord<'_>,
        request: RequestId,
        document: &str,
    ) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        insert_record(&transaction, record)?;
        transaction
            .prepare_cached("INSERT INTO request (request, document) VALUES (?1, ?2)")?
            .execute([request.to_string().as_str(), document])?;
        Ok(transaction.commit()?)
    }

    /// The documents of all requests whose answer is awaited.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn requests(&self) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare("SELECT document FROM request ORDER BY request")?;
        Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
    }

    /// Keeps a named text that answers a request, and forgets the request, in one transaction: before it, the answer
    /// comes again for the asking.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn answer_with_value(&mut self, request: RequestId, (value, text): (Value, &str)) -> Result<(), StoreError> {
        let transaction = self.connection.transaction()?;
        set_value(&transaction, value, text)?;
        transaction.execute("DELETE FROM request WHERE request = ?1", [request.to_string()])?;
        Ok(transaction.commit()?)
    }

    /// Forgets a request that was answered.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn drop_request(&self, request: RequestId) -> Result<(), StoreError> {
        self.connection.prepare_cached("DELETE FROM request WHERE request = ?1")?.execute([request.to_string()])?;
        Ok(())
    }
}
