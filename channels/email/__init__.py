"""Email: mail in by IMAP, SMTP or a provider's webhook, mail out by SMTP."""
