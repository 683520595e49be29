"""The AWS stack: planned, deployed and destroyed; and an embedded AWS to run it on."""
