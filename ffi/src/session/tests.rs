//! What C cannot bring about: a session that a panic left behind.

use super::{SESSIONS, ff_session_run};
use crate::layout::{FF_SESSION_TIMED, Versioned, ff_session_options, pointer};

#[test]
fn a_poisoned_session_is_good_for_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    fleetfoot_tests::scenario::make(dir.path());
    let key = std::fs::read(dir.path().join("key.bin")).unwrap();
    let keys = fleetfoot::Keys::new(key.as_chunks::<32>().0, 1).unwrap();
    let file = fleetfoot::VerifiedFile::open(&dir.path().join("1.ff"), &keys).unwrap();
    let model = std::sync::Arc::new(fleetfoot::Model::from_file(&file).unwrap());
    let named = crate::model::Named::new(file, model).unwrap();
    let options = ff_session_options { flags: FF_SESSION_TIMED, ..ff_session_options::ZERO };
    // SAFETY: no arena is lent.
    let bound = unsafe { super::Bound::new(&named, &options) }.unwrap();
    let handle = SESSIONS.insert(bound).unwrap();
    // SAFETY: the handle is open, NULL is allowed for the others.
    let run = || unsafe { ff_session_run(pointer(handle), std::ptr::null_mut(), std::ptr::null_mut()) };
    assert_eq!(run(), 0);
    SESSIONS.exclusive(handle).unwrap().poisoned = true;
    assert_eq!(run(), 604);
    super::ff_session_release(pointer(handle));
    assert_eq!(run(), 601);
}
