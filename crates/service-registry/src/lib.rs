//! Who runs where: records, addresses, networks, the store and change events.
