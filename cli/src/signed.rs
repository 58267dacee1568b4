//! What a person signs with their own key: an approval, an ask to break the glass, its confirmation.
//!
//! Called by `proposal` and `break_glass`. Registers no key: that is `fettle person key`.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::profile::Profile;
use fettle_audit::signed_record::SignedRecord;
use fettle_model::identity::Principal;
use fettle_model::record::{Author, Body, Record};
use fettle_model::time::UnixMillis;

/// The envelope, as text, of a record by the profile's holder.
///
/// # Errors
/// When the profile is not a person's, or has no signing key.
pub(crate) fn sealed(profile: &Profile, body: Body, at: UnixMillis) -> Result<String, Failure> {
    let Principal::Person(person) = profile.identity.holder().id.principal.clone() else {
        let message = format!("the profile in {} is not of a person", profile.folder.display());
        return Err(Failure::new(Exit::Invalid, message, "name a person's profile with --profile DIR"));
    };
    let Some(key) = profile.signing_key()? else {
        let message = format!("the profile in {} has no signing key", profile.folder.display());
        return Err(Failure::new(Exit::NotFound, message, "make and register one: fettle person key"));
    };
    let record = Record { author: Author::Person { person }, at, body };
    let signed = SignedRecord::seal(record, &key)
        .map_err(|error| Failure::caused(Exit::Invalid, &error, "give a shorter reason"))?;
    String::from_utf8(signed.into_parts().1.into_bytes())
        .map_err(|error| Failure::internal(format!("an envelope is no text: {error}")))
}
