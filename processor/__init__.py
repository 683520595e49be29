"""The processor: photos become features, features become a reduced matrix; see __main__ and assembly."""
