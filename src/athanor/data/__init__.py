"""The data stage: recorded pages become clean, distinct, scored and mixed documents."""
