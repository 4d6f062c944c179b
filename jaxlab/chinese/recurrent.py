"""What is said of recurrent nets and of attention, in Chinese."""

TABLE: dict[str, str] = {
    # --- models/rnn ---
    'bidirectional=True: a language model would see the words that it is to guess; False is wanted.': (
        'bidirectional=True：语言模型会看到它要猜的词；应为 False。'
    ),
    'tied=True: the table is the output layer too, so embedding={embedding} must be width={width}; 0 says so.': (
        'tied=True：词表同时也是输出层，所以 embedding={embedding} 必须等于 width={width}；0 即表示相等。'
    ),
}
