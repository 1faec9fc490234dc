"""What management keys change by the API and administrators by the dashboard: one way in for both."""
