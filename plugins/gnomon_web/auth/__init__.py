"""Who may do what: tokens, logins, roles, and the checks that keep web pages of other sites out."""
