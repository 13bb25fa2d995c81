from gptcore.cli import main

main()
