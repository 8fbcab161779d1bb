//! Notes of who may call.

use serde_json::Value;
use weir_config::model::{
    AccessAction, AccessCondition, AccessOperation, AccessPolicy, AccessRule, AccessSource, Among,
    Authorization, Pattern,
};

use super::{Noted, noted_enum, noted_shared, noted_struct};

noted_struct!(Authorization { policies, port });
noted_shared!(Authorization);
noted_struct!(AccessPolicy {
    name,
    action,
    log_only,
    rules,
    source
});
noted_enum!(AccessAction { units [Deny, Allow, Audit] values [] structs [] });
noted_struct!(AccessRule { from, to, when });
noted_struct!(AccessSource {
    principals,
    peers,
    clients
});
noted_struct!(AccessOperation {
    listeners,
    hosts,
    methods,
    paths,
    ports
});
noted_enum!(AccessCondition {
    units []
    values [Principal, Peer, Client, Port, ServerName]
    structs [Header { name, values }]
});
noted_enum!(Pattern { units [Any] values [Exact, Prefix, Suffix, Under] structs [] });

impl<T: Noted> Noted for Among<T> {
    fn note(&self) -> Value {
        let Self { only, never } = self;
        Value::Array(vec![only.note(), never.note()])
    }

    fn read(note: &Value) -> Option<Self> {
        match note.as_array()?.as_slice() {
            [only, never] => Some(Self {
                only: Noted::read(only)?,
                never: Noted::read(never)?,
            }),
            _ => None,
        }
    }
}
