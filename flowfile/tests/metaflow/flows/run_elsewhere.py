from linear import Linear

if __name__ == "__main__":
    Linear()
